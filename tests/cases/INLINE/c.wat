;; export api: interface { add: func(n: u32) -> u32 }
(component
  (core module $m (func (export "f") (param i32) (result i32) local.get 0 i32.const 1 i32.add))
  (core instance $i (instantiate $m))
  (func $f (param "n" u32) (result u32) (canon lift (core func $i "f")))
  (component $s (import "f" (func $g (param "n" u32) (result u32))) (export "add" (func $g)))
  (instance $api (instantiate $s (with "f" (func $f))))
  (export "api" (instance $api)))
