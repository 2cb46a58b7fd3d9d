"""Pages, videos and live viewers."""
