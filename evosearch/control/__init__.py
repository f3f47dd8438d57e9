"""Control: environments and policies that are compiled into one loop over many episodes."""
