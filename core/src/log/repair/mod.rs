//! Repairing what can be repaired: indexes are built again, and a broken segment is set aside.
//!
//! Both say first what they will do: a plan is made, shown, and then carried out.

mod cover;
mod indexes;
mod set_aside;

pub use self::indexes::{IndexRepair, RepairPlan};
pub use self::set_aside::SetAside;

#[cfg(test)]
mod tests;
