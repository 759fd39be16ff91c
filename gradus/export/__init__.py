"""Writing models in other engines' formats."""
