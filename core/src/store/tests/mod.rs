mod each;
mod faulty;
mod replica;
