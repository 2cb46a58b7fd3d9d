"""A motion and what is done to it in time: resampling, smoothing, heading, contacts, foot lock."""
