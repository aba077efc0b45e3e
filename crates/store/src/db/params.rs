//! The values of a statement, in every form in which they are written.

use super::{Result, ToSql};

/// Takes one value after the other.
pub(crate) type Sink<'s> = dyn FnMut(&dyn ToSql) -> Result<()> + 's;

/// The values of a statement in the order of their numbers.
pub(crate) trait Params {
    /// Hands them over one by one.
    fn each(self, sink: &mut Sink<'_>) -> Result<()>;
}

impl Params for () {
    fn each(self, _: &mut Sink<'_>) -> Result<()> {
        Ok(())
    }
}

impl Params for [&(dyn ToSql + Send + Sync); 0] {
    fn each(self, _: &mut Sink<'_>) -> Result<()> {
        Ok(())
    }
}

impl Params for &[&dyn ToSql] {
    fn each(self, sink: &mut Sink<'_>) -> Result<()> {
        self.iter().try_for_each(|value| sink(*value))
    }
}

/// Values that are known only while the program runs.
pub(crate) struct FromIter<I>(I);

/// Takes any number of values of one kind.
pub(crate) fn params_from_iter<I>(values: I) -> FromIter<I>
where
    I: IntoIterator,
    I::Item: ToSql,
{
    FromIter(values)
}

impl<I> Params for FromIter<I>
where
    I: IntoIterator,
    I::Item: ToSql,
{
    fn each(self, sink: &mut Sink<'_>) -> Result<()> {
        self.0.into_iter().try_for_each(|value| sink(&value))
    }
}

macro_rules! arrays {
    ($($count:literal)*) => {
        $(impl<T: ToSql> Params for [T; $count] {
            fn each(self, sink: &mut Sink<'_>) -> Result<()> {
                self.iter().try_for_each(|value| sink(value))
            }
        })*
    };
}

arrays!(1 2 3 4 5 6 7 8 9 10 11 12);

macro_rules! tuples {
    ($($($name:ident)+;)*) => {
        $(impl<$($name: ToSql),+> Params for ($($name,)+) {
            fn each(self, sink: &mut Sink<'_>) -> Result<()> {
                #[expect(non_snake_case, reason = "a value is called as its type")]
                let ($($name,)+) = self;
                $(sink(&$name)?;)+
                Ok(())
            }
        })*
    };
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
    A B C D E F G H I J K L M;
    A B C D E F G H I J K L M N;
    A B C D E F G H I J K L M N O;
    A B C D E F G H I J K L M N O P;
}
