"""An application that charges three orders, each of them delivered twice, as queues do.

All that it does for payonce: it passes STRIPE_API_BASE to its SDK, and names the work. Ends with 0 if
each order has one charge, whichever delivery asked for it.
"""

import os
import sys

import stripe

stripe.api_base = os.environ["STRIPE_API_BASE"]
stripe.api_key = os.environ["STRIPE_API_KEY"]

ORDERS = {"order-1": 1200, "order-2": 500, "order-3": 500}


def charge(order: str, amount: int) -> str:
    """The id of the order's charge."""
    made = stripe.Charge.create(
        amount=amount,
        currency="usd",
        source="tok_visa",
        description=order,
        headers={"Payonce-Operation": order},
    )
    print(f"{order}: {made.id}, {made.last_response.headers['Payonce-Outcome']}")
    return made.id


def main() -> int:
    """Works through the deliveries."""
    first = {order: charge(order, amount) for order, amount in ORDERS.items()}
    again = {order: charge(order, amount) for order, amount in ORDERS.items()}
    once = first == again and len(set(first.values())) == len(ORDERS)
    print("each order was charged once" if once else "an order was charged twice")
    return 0 if once else 1


if __name__ == "__main__":
    sys.exit(main())
