"""Ground floor: declarations, results, statistics, the lab, errors. Imports neither torch nor the floors above."""
