"""charlm as a library: what the commands do, as functions and a class for programs to call."""
