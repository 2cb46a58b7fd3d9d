"""Reference motions: output of human mesh recovery systems, converted to a condition for generators."""
