"""Examples for lifting: views of motion through drawn cameras, with the errors of detectors."""
