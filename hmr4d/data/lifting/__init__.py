"""Examples for lifting: views of motion in random cameras, with simulated detector errors."""
