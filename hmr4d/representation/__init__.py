"""Motion as the numbers that networks learn, and back."""
