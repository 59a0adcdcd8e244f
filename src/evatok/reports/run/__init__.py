"""One page of whatever a folder holds of evatok's: trainings, searches, evaluations, curves, cards."""
