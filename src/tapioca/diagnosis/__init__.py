"""Evidence in, verdict out: in distribution, distorted, misaligned, or cannot tell without labels."""
