"""The only place with onnxruntime: sessions, backbones, micro-batches, live heads."""
