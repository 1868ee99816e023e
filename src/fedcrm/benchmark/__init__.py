"""Fair comparison of local, centralised and federated models on tables."""
