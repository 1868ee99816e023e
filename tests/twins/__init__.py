"""Small stand-ins and adversaries' tools that several tests share; none of them is imported by the package."""
