"""Web pages, videos, images and live viewers of motions."""
