"""Programs, lifetimes and the back ends that run them: same results, different speed."""
