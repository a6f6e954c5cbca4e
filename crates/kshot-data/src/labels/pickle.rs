//! The part of Python's pickles that holds plain data and NumPy arrays, as Cellpose saves them; nothing is run.
//!
//! Opcodes and their meaning: Python's `pickletools`, protocols 0 to 5 of what NumPy writes. Calls of functions stay data
//! (their name and arguments), so that a file can hold anything and do nothing.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Objects of a pickle at most; Cellpose's files have some hundreds.
const MOST_OBJECTS: usize = 1_000_000;

/// An object by its place in [`Pickle::objects`].
pub type Id = usize;

/// What a pickle holds; strings and bytes lie in the file.
#[derive(Debug, Clone)]
pub enum Object<'a> {
    /// `None`, a float, or what is of no use here.
    Other,
    /// A whole number; `True` and `False` are 1 and 0.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A tuple, list or set.
    Items(Vec<Id>),
    /// Keys and values.
    Dict(Vec<(Id, Id)>),
    /// A name of Python's, module and name.
    Global(&'a str, &'a str),
    /// A call, or an object that is filled afterwards: what is called, its arguments, its state.
    Call(Id, Id, Option<Id>),
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle<'a> {
    /// All objects; they refer to each other by their places.
    pub objects: Vec<Object<'a>>,
    /// The object that was pickled.
    pub root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle.
    ///
    /// # Errors
    /// If it ends early or holds what plain data and arrays have no use for.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader {
            bytes,
            at: 0,
            objects: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        while let Some(root) = reader.step()? {
            if let Some(root) = root {
                return Ok(Self { objects: reader.objects, root });
            }
            if reader.objects.len() > MOST_OBJECTS {
                return Err(Error::data(format!(
                    "a pickle of more than {} million objects; it is nothing that Cellpose saved",
                    MOST_OBJECTS / 1_000_000
                )));
            }
        }
        Err(Error::data("the file ends early"))
    }

    /// An object.
    pub fn get(&self, id: Id) -> &Object<'a> {
        &self.objects[id]
    }

    /// The value of a text key, where the object is a dictionary that has it.
    pub fn value(&self, dict: Id, key: &str) -> Option<Id> {
        let Object::Dict(entries) = self.get(dict) else { return None };
        let named = |of: &&(Id, Id)| matches!(self.get(of.0), Object::Text(text) if *text == key);
        entries.iter().find(named).map(|of| of.1)
    }

    /// The items of a tuple or list.
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Object::Items(items) => Some(items),
            _ => None,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl<'a> Reader<'a> {
    /// One opcode; the root where it was the last one.
    fn step(&mut self) -> Result<Option<Option<Id>>> {
        let Some(&code) = self.bytes.get(self.at) else { return Ok(None) };
        self.at += 1;
        match code {
            b'.' => return Ok(Some(Some(self.pop()?))),
            // Protocol, frame.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.popped()?),
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
            }
            b'N' => self.push(Object::Other),
            b'G' => {
                self.take(8)?;
                self.push(Object::Other);
            }
            0x88 | 0x89 => self.push(Object::Int(i64::from(code == 0x88))),
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Object::Int(value.into()));
            }
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            0x8a => {
                let size = self.number(1)?;
                let digits = self.take(size)?;
                let mut value =
                    if digits.last().is_some_and(|last| last >> 7 == 1) { -1i64 } else { 0 };
                digits
                    .iter()
                    .take(8)
                    .rev()
                    .for_each(|digit| value = value << 8 | i64::from(*digit));
                self.push(Object::Int(value));
            }
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b'C' | b'U' => self.string(1)?,
            b'B' | b'T' => self.string(4)?,
            0x8e | 0x96 => self.string(8)?,
            b']' | b')' | 0x8f => self.push(Object::Items(Vec::new())),
            b'}' => self.push(Object::Dict(Vec::new())),
            b't' | b'l' | 0x91 => {
                let items = self.popped()?;
                self.push(Object::Items(items));
            }
            b'd' => {
                let entries = pairs(&self.popped()?);
                self.push(Object::Dict(entries));
            }
            0x85..=0x87 => {
                let mut items = (0x85..=code).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                items.reverse();
                self.push(Object::Items(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.popped()?;
                self.extend(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(&[key, value])?;
            }
            b'u' => {
                let entries = self.popped()?;
                self.extend(&entries)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Object::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.objects[module], &self.objects[name]) {
                    (&Object::Text(module), &Object::Text(name)) => {
                        self.push(Object::Global(module, name))
                    }
                    _ => return Err(wrong(code, self.at)),
                }
            }
            b'R' | 0x81 => {
                let (arguments, called) = (self.pop()?, self.pop()?);
                self.push(Object::Call(called, arguments, None));
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.top()?);
                if let Object::Call(_, _, of) = &mut self.objects[object] {
                    *of = Some(state);
                }
            }
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => {
                let top = self.top()?;
                self.memo.insert(self.memo.len(), top);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            other => return Err(wrong(other, self.at)),
        }
        Ok(Some(None))
    }

    fn push(&mut self, object: Object<'a>) {
        self.stack.push(self.objects.len());
        self.objects.push(object);
    }

    fn top(&self) -> Result<Id> {
        let base = self.marks.last().copied().unwrap_or(0);
        let above = self.stack.len() > base;
        self.stack.last().copied().filter(|_| above).ok_or_else(|| wrong(b'0', self.at))
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// What lies above the last mark.
    fn popped(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| wrong(b'(', self.at))?;
        Ok(self.stack.split_off(mark))
    }

    /// Adds items to the list on top, or keys and values to the dictionary.
    fn extend(&mut self, more: &[Id]) -> Result<()> {
        let top = self.top()?;
        match &mut self.objects[top] {
            Object::Items(items) => items.extend(more),
            Object::Dict(entries) => entries.extend(pairs(more)),
            _ => return Err(wrong(b'e', self.at)),
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| Error::data("the file ends early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A number of so many bytes, the least first.
    fn number(&mut self, bytes: usize) -> Result<usize> {
        let digits = self.take(bytes)?;
        Ok(digits.iter().rev().fold(0, |value, digit| value << 8 | usize::from(*digit)))
    }

    fn int(&mut self, bytes: usize) -> Result<()> {
        let value = self.number(bytes)? as i64;
        self.push(Object::Int(value));
        Ok(())
    }

    fn text(&mut self, bytes: usize) -> Result<()> {
        let size = self.number(bytes)?;
        let text = std::str::from_utf8(self.take(size)?);
        // A text that is none (a lone surrogate) is no key that anybody looks for.
        self.push(text.map_or(Object::Other, Object::Text));
        Ok(())
    }

    fn string(&mut self, bytes: usize) -> Result<()> {
        let size = self.number(bytes)?;
        let string = self.take(size)?;
        self.push(Object::Bytes(string));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or_else(|| Error::data("the file ends early"))?)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| wrong(b'c', self.at))
    }

    fn remember(&mut self, bytes: usize) -> Result<()> {
        let (place, top) = (self.number(bytes)?, self.top()?);
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Result<()> {
        let place = self.number(bytes)?;
        let known = self.memo.get(&place).copied();
        self.stack.push(known.ok_or_else(|| wrong(b'h', self.at))?);
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

fn wrong(code: u8, at: usize) -> Error {
    Error::data(format!(
        "the pickle holds what cannot be read (opcode {code:#04x} before byte {at})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_objects_lists_and_numbers() {
        // pickle.dumps({"a": [1, -2, 300], "b": (x := b"xy", x)}, 2), with bytes as protocol 3 writes them.
        let bytes = b"\x80\x03}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM\x2c\x01eX\x01\x00\x00\x00bC\x02xyq\x03h\x03\x86q\x04u.";
        let pickle = Pickle::read(bytes).unwrap();
        let numbers = pickle.items(pickle.value(pickle.root, "a").unwrap()).unwrap();
        let values: Vec<i64> = numbers
            .iter()
            .filter_map(
                |id| if let Object::Int(value) = pickle.get(*id) { Some(*value) } else { None },
            )
            .collect();
        assert_eq!(values, [1, -2, 300]);
        let pair = pickle.items(pickle.value(pickle.root, "b").unwrap()).unwrap();
        assert_eq!(pair[0], pair[1]);
        assert!(pickle.value(pickle.root, "c").is_none());
    }

    #[test]
    fn whatever_is_wrong_is_an_error() {
        for bytes in [
            &b""[..],
            b"\x80\x04",
            b".",
            b"t.",
            b"h\x05.",
            b"X\xff\xff\xff\xffab.",
            b"r\xff\xff\xff\xff",
            b"\xff",
            b"]K\x01s.",
            &[b"(".as_slice(), &[b'N'; 1_000_001], b"t."].concat(),
        ] {
            assert!(Pickle::read(bytes).is_err(), "{bytes:?}");
        }
    }
}
