"""The motion types and operations over time: resampling, smoothing, heading, contacts, foot lock."""
