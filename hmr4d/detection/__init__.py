"""People in videos: frame reading, detection, tracking, and 2D joints."""
