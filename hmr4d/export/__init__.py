"""Writers of motion files."""
