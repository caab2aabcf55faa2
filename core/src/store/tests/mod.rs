mod breaker;
mod each;
mod faulty;
mod replica;
mod streams;
mod tries;
