mod each;
mod faulty;
