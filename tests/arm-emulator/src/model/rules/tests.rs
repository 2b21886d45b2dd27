//! Each rule by one row; written with the rest of the tests.
