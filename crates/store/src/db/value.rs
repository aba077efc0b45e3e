//! What a value is on the way to PostgreSQL and back.
//!
//! The statement decides which type a value has there, the program which it has here. A value is written as what the
//! server expects, and what the server sends is read as what SQLite would have given.

use std::error::Error as StdError;

use ::postgres::types::private::BytesMut;
use ::postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::{DbError, Result};

type Refused = Box<dyn StdError + Sync + Send>;

/// Digits of a decimal number that PostgreSQL keeps together.
const GROUP: u64 = 10_000;

/// A column of a row as SQLite would have given it.
pub(super) struct Raw<'r>(pub(super) ValueRef<'r>);

impl<'r> FromSql<'r> for Raw<'r> {
    fn from_sql(ty: &Type, raw: &'r [u8]) -> std::result::Result<Self, Refused> {
        let value = match *ty {
            Type::INT8 => ValueRef::Integer(i64::from_be_bytes(raw.try_into()?)),
            Type::INT4 => ValueRef::Integer(i32::from_be_bytes(raw.try_into()?).into()),
            Type::INT2 => ValueRef::Integer(i16::from_be_bytes(raw.try_into()?).into()),
            Type::BOOL => ValueRef::Integer(i64::from(raw != [0])),
            Type::FLOAT8 => ValueRef::Real(f64::from_be_bytes(raw.try_into()?)),
            Type::FLOAT4 => ValueRef::Real(f32::from_be_bytes(raw.try_into()?).into()),
            Type::NUMERIC => decimal(raw)?,
            Type::BYTEA => ValueRef::Blob(raw),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => ValueRef::Text(raw),
            Type::VOID => ValueRef::Null,
            ref other => return Err(format!("no column of the store is of the type {other}").into()),
        };
        Ok(Self(value))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A decimal number: groups of four digits, of which `weight` + 1 stand before the point.
fn decimal(raw: &[u8]) -> std::result::Result<ValueRef<'static>, Refused> {
    let cut = || Refused::from("a decimal number is cut short");
    let word = |n: usize| raw.get(n * 2..n * 2 + 2).map(|b| u16::from_be_bytes([b[0], b[1]])).ok_or_else(cut);
    let (count, weight, sign) = (usize::from(word(0)?), word(1)?.cast_signed(), word(2)?);
    if sign != 0 && sign != 0x4000 {
        return Err("a number is none".into());
    }
    let whole = usize::try_from(i32::from(weight) + 1).unwrap_or(0);
    let (mut number, mut rest) = (0i128, 0f64);
    for n in 0..whole.max(count) {
        let group = if n < count { word(4 + n)? } else { 0 };
        if n < whole {
            number = number.checked_mul(GROUP.into()).and_then(|n| n.checked_add(group.into())).ok_or("a number is too large")?;
        } else {
            let place = i32::from(weight) - i32::try_from(n)?;
            rest += f64::from(group) * 10_000f64.powi(place);
        }
    }
    let number = if sign == 0 { number } else { -number };
    if rest > 0.0 {
        #[expect(clippy::cast_precision_loss, reason = "a number with a fraction is not exact anywhere")]
        let real = number as f64;
        return Ok(ValueRef::Real(if sign == 0 { real + rest } else { real - rest }));
    }
    Ok(ValueRef::Integer(i64::try_from(number).map_err(|_| "a number is too large")?))
}

/// A value on its way to the server.
#[derive(Debug)]
pub(super) struct Passed(Value);

impl Passed {
    /// Takes a value out of what the program has.
    pub(super) fn new(value: &dyn super::ToSql) -> Result<Self> {
        let value = match value.to_sql()? {
            ToSqlOutput::Borrowed(value) => value.try_into().map_err(|e| DbError::ToSqlConversionFailure(Box::new(e)))?,
            ToSqlOutput::Owned(value) => value,
            _ => return Err(DbError::Statement("a value of this kind cannot be passed".to_owned())),
        };
        if let Value::Text(text) = &value
            && text.contains('\0')
        {
            return Err(DbError::ToSqlConversionFailure("a text holds a NUL, which PostgreSQL does not keep".into()));
        }
        Ok(Self(value))
    }
}

impl ToSql for Passed {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Refused> {
        match &self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Integer(number) => integer(*number, ty, out)?,
            Value::Real(number) => match *ty {
                Type::FLOAT8 => out.extend_from_slice(&number.to_be_bytes()),
                Type::TEXT => out.extend_from_slice(number.to_string().as_bytes()),
                ref other => return Err(misfit("a number with a fraction", other)),
            },
            Value::Text(text) => match *ty {
                Type::INT8 | Type::INT4 | Type::INT2 | Type::NUMERIC | Type::BOOL => integer(text.parse()?, ty, out)?,
                Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::BYTEA => {
                    out.extend_from_slice(text.as_bytes());
                }
                ref other => return Err(misfit("a text", other)),
            },
            Value::Blob(bytes) => match *ty {
                Type::BYTEA => out.extend_from_slice(bytes),
                ref other => return Err(misfit("bytes", other)),
            },
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn integer(number: i64, ty: &Type, out: &mut BytesMut) -> std::result::Result<(), Refused> {
    match *ty {
        Type::INT8 => out.extend_from_slice(&number.to_be_bytes()),
        Type::INT4 => out.extend_from_slice(&i32::try_from(number)?.to_be_bytes()),
        Type::INT2 => out.extend_from_slice(&i16::try_from(number)?.to_be_bytes()),
        Type::BOOL => out.extend_from_slice(&[u8::from(number != 0)]),
        #[expect(clippy::cast_precision_loss, reason = "SQLite keeps a number in such a column the same way")]
        Type::FLOAT8 => out.extend_from_slice(&(number as f64).to_be_bytes()),
        Type::NUMERIC => {
            let mut groups = Vec::new();
            let mut left = number.unsigned_abs();
            while left > 0 {
                groups.push(u16::try_from(left % GROUP)?);
                left /= GROUP;
            }
            let count = u16::try_from(groups.len())?;
            let sign = if number < 0 { 0x4000u16 } else { 0 };
            for word in [count, count.saturating_sub(1), sign, 0].into_iter().chain(groups.into_iter().rev()) {
                out.extend_from_slice(&word.to_be_bytes());
            }
        }
        Type::TEXT | Type::VARCHAR | Type::UNKNOWN => out.extend_from_slice(number.to_string().as_bytes()),
        ref other => return Err(misfit("a number", other)),
    }
    Ok(())
}

fn misfit(what: &str, ty: &Type) -> Refused {
    format!("{what} was given where {ty} is wanted").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_numbers_survive_the_way() {
        for number in [0, 1, -1, 9_999, 10_000, -10_001, 1_000_000_000_000, i64::MAX, i64::MIN + 1] {
            let mut out = BytesMut::new();
            integer(number, &Type::NUMERIC, &mut out).unwrap();
            assert_eq!(decimal(&out).unwrap(), ValueRef::Integer(number), "{number}");
        }
        // 12345.5: three groups, the first of which stands for ten thousands.
        let raw: Vec<u8> = [3u16, 1, 0, 1, 1, 2345, 5000].iter().flat_map(|w| w.to_be_bytes()).collect();
        assert_eq!(decimal(&raw).unwrap(), ValueRef::Real(12345.5));
        let raw: Vec<u8> = [1u16, 2, 0, 0, 7].iter().flat_map(|w| w.to_be_bytes()).collect();
        assert_eq!(decimal(&raw).unwrap(), ValueRef::Integer(700_000_000), "zeros at the end are not sent");
        assert!(decimal(&[0, 3, 0, 0]).is_err());
    }
}
