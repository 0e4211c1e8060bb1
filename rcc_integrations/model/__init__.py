"""The network: windows, encoder, injection, prefix, generation, checkpoints. Knows nothing of disks or stores."""
