"""Network layers, text encoders and the common training module."""
