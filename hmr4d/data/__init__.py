"""The motion store, captions, datasets and batches."""
