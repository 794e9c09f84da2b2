"""ONNX Runtime: sessions, devices, what this processor can, and weights that processes share."""
