//! Methods that are called as messages.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm_tests::eventually;

use self::cart::{Cart, CartAddItem, CartCalls, CartClear, CartTotal};
use super::{ended, opened, running};

mod cart {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};
    use sworm::prelude::*;

    /// Has methods, and a message beside them.
    #[derive(Worker, Serialize, Deserialize, Default)]
    #[worker(name = "methods.cart", handles(Count), methods, handoff)]
    pub(super) struct Cart {
        items: BTreeMap<String, u32>,
    }

    #[derive(Message, Serialize, Deserialize)]
    #[message(id = "methods.count", reply = usize)]
    pub(super) struct Count;

    impl Handler<Count> for Cart {
        async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> usize {
            self.items.len()
        }
    }

    #[sworm::handlers]
    impl Cart {
        /// How many items there may be.
        const LIMIT: u32 = 100;

        /// Stays as it is: it is not `async`.
        pub(super) fn with(item: &str, count: u32) -> Self {
            Self { items: BTreeMap::from([(item.to_owned(), count)]) }
        }

        /// Adds items; an error if there would be too many.
        #[cold]
        pub(super) async fn add_item(&mut self, item: String, mut count: u32) -> Result<u32, String> {
            count += self.total().await;
            if count > Self::LIMIT {
                return Err(format!("{count} are too many"));
            }
            *self.items.entry(item).or_default() += count - self.total().await;
            Ok(count)
        }

        /// How many there are.
        pub(super) async fn total(&self) -> u32 {
            self.items.values().sum()
        }

        #[message(id = "methods.empty-it")]
        pub(super) async fn clear(&mut self) {
            self.items.clear();
        }

        /// Takes the items of another cart, and says where.
        pub(super) async fn merge(&mut self, other: Self, ctx: &mut Context<Self>) -> (Vec<Self>, String) {
            for (item, count) in other.items {
                *self.items.entry(item).or_default() += count;
            }
            (vec![Self { items: self.items.clone() }], ctx.node().to_string())
        }

        pub(super) async fn nap(&self, ms: u64) {
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
        }

        #[cfg(any())]
        pub(super) async fn not_there(&self, nothing: Nothing) -> Nothing {
            nothing
        }

        async fn r#type(&self, r#loop: u8) -> u8 {
            r#loop
        }
    }

    pub(super) async fn called_here(cart: &Ref<Cart>) -> u8 {
        cart.r#type(7).await.expect("it runs")
    }
}

/// Does not say that it has methods.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "methods.bell")]
struct Bell {
    rung: u64,
}

#[sworm::handlers]
impl Bell {
    async fn ring(&mut self) -> u64 {
        self.rung += 1;
        self.rung
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_are_called_on_references_wherever_the_worker_is() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let cart = on_a.register("cart", Cart::default()).on(b.id()).await.expect("free");
    running(&on_b, "cart").await;
    for (sworm, before) in [(&on_a, 0), (&on_b, 5)] {
        let cart = sworm.whereis_name::<Cart>("cart").expect("it runs");
        assert_eq!(cart.add_item("pears".into(), 5).await, Ok(Ok(before + 5)));
        assert_eq!(cart.add_item("plums".into(), 96).await, Ok(Err(format!("{} are too many", before + 101))));
        assert_eq!(cart.total().await, Ok(before + 5));
        assert_eq!(cart.call(cart::Count).await, Ok(1));
        assert_eq!(cart::called_here(&cart).await, 7);
    }
    let (all, node) = cart.merge(Cart::with("figs", 3)).await.expect("it runs");
    assert_eq!((all[0].total().await, node.as_str()), (13, "b"), "on the value itself they are what they were");
    on_a.move_name("cart", a.id()).await.expect("it can run there");
    assert_eq!(cart.total().await, Ok(13), "the state has gone along");
    let limit = Duration::from_millis(50);
    assert_eq!(cart.nap(60_000).timeout(limit).await, Err(CallError::Timeout { after: limit }));
    ended(&on_a, "cart").await;
    assert_eq!(cart.total().await, Err(CallError::NotRegistered { name: "cart".into() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_methods_are_called_by_are_messages_with_ids_of_their_own() {
    assert_eq!([CartAddItem::ID, CartTotal::ID, CartClear::ID], ["Cart.add_item", "Cart.total", "methods.empty-it"]);
    let [(_a, on_a), (b, _on_b)] = opened("s").await;
    let cart = on_a.register("cart", Cart::with("pears", 1)).on(b.id()).await.expect("free");
    cart.cast(CartAddItem { item: "plums".into(), count: 2 }).await.expect("it is on its way");
    assert_eq!(cart.call(CartTotal).await, Ok(3));
    on_a.join("carts", &cart).await.expect("it runs");
    eventually("the group", || async { (on_a.members("carts").len() == 1).then_some(()) }).await;
    assert_eq!(on_a.multi_call("carts", CartTotal).await[0].1, Ok(3));
    assert_eq!(on_a.publish("carts", CartClear).await, Ok(1));
    assert_eq!(cart.total().await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_are_found_though_the_type_does_not_speak_of_them() {
    let [(a, on_a), (b, _on_b)] = opened("s").await;
    for (name, on) in [("here", a.id()), ("there", b.id())] {
        let bell = on_a.register(name, Bell::default()).on(on).await.expect("free");
        assert_eq!(bell.ring().await, Ok(1));
        assert_eq!(bell.call(BellRing).await, Ok(2));
    }
}
