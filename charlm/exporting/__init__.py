"""Models for programs that are not charlm: a graph for ONNX runtimes, a module for torch."""
