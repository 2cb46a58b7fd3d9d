"""The methods, one folder per method. No method imports another."""
