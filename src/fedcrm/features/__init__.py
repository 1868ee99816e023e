"""Feature tables: the public declaration of columns (`columns`) and the records themselves (`table`)."""
