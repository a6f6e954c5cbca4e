//! Settings that a recipe may write as a bare name, `"adam"`, or as a table with the name in it,
//! `{ name = "adam", beta1 = 0.8 }`.

/// Implements `Serialize` and `Deserialize` for a type that derives both with `#[serde(remote = "Self")]`
/// from a table with the key `name`: reading takes a bare name as well, writing gives the table.
macro_rules! name_or_table {
    ($type:ident, $what:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $type::serialize(self, to)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Written;
                impl<'de> serde::de::Visitor<'de> for Written {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("the name of ", $what, ", or a table with its `name`"))
                    }

                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<$type, E> {
                        let table = std::iter::once(("name", name));
                        $type::deserialize(serde::de::value::MapDeserializer::new(table))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        map: A,
                    ) -> Result<$type, A::Error> {
                        $type::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                }
                from.deserialize_any(Written)
            }
        }
    };
}

pub(super) use name_or_table;
