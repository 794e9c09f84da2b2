"""Training: split, race, calibrate, evaluate, export, verify, gate. One step a file; torch and onnx live here."""
