"""Evidence in, verdict out: no shift seen, distorted, misaligned, or cannot tell without labels."""
