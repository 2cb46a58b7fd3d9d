"""People in videos: reading the pictures, finding and following people, their 2D joints."""
