"""From finished runs to the champion of the registry, and back: decided, proven, recorded."""
