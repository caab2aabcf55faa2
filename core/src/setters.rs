//! The setters of option types.

/// Writes a setter for each field that is named, `field: type`. `field: into type` takes whatever converts to the type,
/// `field: some type` sets `Some`, and `field: some into type` does both.
macro_rules! setters {
    () => {};
    ($name:ident: some into $type:ty $(, $($rest:tt)*)?) => {
        $crate::setters::setters!(@ $name, impl Into<$type>, Some($name.into()));
        $($crate::setters::setters! { $($rest)* })?
    };
    ($name:ident: some $type:ty $(, $($rest:tt)*)?) => {
        $crate::setters::setters!(@ $name, $type, Some($name));
        $($crate::setters::setters! { $($rest)* })?
    };
    ($name:ident: into $type:ty $(, $($rest:tt)*)?) => {
        $crate::setters::setters!(@ $name, impl Into<$type>, $name.into());
        $($crate::setters::setters! { $($rest)* })?
    };
    ($name:ident: $type:ty $(, $($rest:tt)*)?) => {
        $crate::setters::setters!(@ $name, $type, $name);
        $($crate::setters::setters! { $($rest)* })?
    };
    (@ $name:ident, $given:ty, $set:expr) => {
        #[doc = concat!("Sets [`", stringify!($name), "`](Self::", stringify!($name), ").")]
        #[must_use]
        pub fn $name(mut self, $name: $given) -> Self {
            self.$name = $set;
            self
        }
    };
}

pub(crate) use setters;
