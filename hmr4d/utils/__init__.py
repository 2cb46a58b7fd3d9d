"""Files, text, downloads, precision and seeds: what every room needs and no method knows."""
