//! A link as a manifest writes it: the name of a component, or a table that says more.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

/// Whom a component may call under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// The component of the app.
    pub(crate) component: String,
    /// Whether it runs on the node of its caller.
    pub(crate) local: bool,
}

/// A link with options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    /// The component of the app that is called.
    component: String,
    /// Whether the call stays on the node of the caller, which must hold both components; the
    /// process does not migrate between them.
    #[serde(default)]
    local: bool,
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Link;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a component, or { component = \"NAME\", local = true }")
            }

            fn visit_str<E: de::Error>(self, component: &str) -> Result<Link, E> {
                Ok(Link { component: component.to_owned(), local: false })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Link, A::Error> {
                let Table { component, local } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Link { component, local })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Link {
    fn schema_name() -> Cow<'static, str> {
        "Link".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<Table>();
        json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}
