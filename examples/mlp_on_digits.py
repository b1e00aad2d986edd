"""A plain network on 1,797 handwritten digits, from data to predictions.

python examples/mlp_on_digits.py
"""

from trimtab import Trainer, datasets, losses, nn, optim


def main(epochs: int = 30) -> float:
    """Train, and return the test accuracy."""
    digits = datasets.load_digits()
    model = nn.Sequential(nn.Linear(64, 128, rng=0), nn.ReLU(), nn.Linear(128, 10, rng=1))
    sgd = optim.SGD(model, lr=0.05, momentum=0.9, weight_decay=1e-4)
    trainer = Trainer(model, losses.CrossEntropy(), sgd, rng=0)
    trainer.fit(digits.x_train, digits.y_train, validation_data=(digits.x_test, digits.y_test), epochs=epochs)

    guesses = trainer.predict(digits.x_test).argmax(axis=1)
    for image, label, guess in zip(digits.x_test, digits.y_test, guesses, strict=True):
        if guess != label:
            print(f"a {label}, classified as {guess}:")
            for row in image.reshape(8, 8):
                print("   ", "".join(" .:-=+*#%@"[int(9 * pixel)] * 2 for pixel in row))
    accuracy = trainer.evaluate(digits.x_test, digits.y_test)["accuracy"]
    print(f"test accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
