"""From scikit-learn to ONNX, and the proof that both answer alike."""
