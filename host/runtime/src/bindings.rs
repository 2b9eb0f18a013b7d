//! The host's side of the WIT packages, generated. Nothing by hand.

wasmtime::component::bindgen!({
    inline: "
        package izna:host@0.1.0;
        world explicit {
            import izna:memory/store@0.1.0;
            export izna:process/handler@0.1.0;
        }
    ",
    path: ["../../wit/memory", "../../wit/process"],
    world: "izna:host/explicit",
    imports: { default: async },
    exports: { default: async },
});
