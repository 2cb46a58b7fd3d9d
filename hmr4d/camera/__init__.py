"""Camera files, calibration, samplers of camera rigs."""
