"""What a result was made from: fingerprints, records, the chain, archive and replay."""
