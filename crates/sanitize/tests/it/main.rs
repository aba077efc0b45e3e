//! What is taken out, and what is left as it is.

mod known;
mod patterns;
mod values;
