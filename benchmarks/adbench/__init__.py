"""Detection of anomalies in the tables of ADBench, by tfnvp and by scikit-learn."""
